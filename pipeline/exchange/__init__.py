"""Checkpoints brought in from elsewhere, and taken out: as an adapter, as a merged model, to the hub."""
