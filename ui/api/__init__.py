"""The HTTP API: typed functions whose signatures are the API page."""
