"""Two suites of tests for code of installed packages: calls ship, the code comes from the packages."""
