"""A full training: settings, stages from teachers to device students, evaluation, report, predictions."""
