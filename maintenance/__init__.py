"""What only maintainers run: the shipped ladder, studies, model cards, the README's results section."""
