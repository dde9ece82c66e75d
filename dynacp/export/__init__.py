"""Trained students in the forms that devices run, each form counted and compared anew."""
