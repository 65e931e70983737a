"""The HTTP API: typed functions over what the tabs use. Their signatures are the API page."""
