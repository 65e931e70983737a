"""The tabs: one module each, each a build function; callbacks are thin."""
