"""Baselines that keep their encoder, trained on what the packaged student is taught with."""
