"""Cohorts on disk: tables, importers, joins, audits, targets, and prepared stores."""
