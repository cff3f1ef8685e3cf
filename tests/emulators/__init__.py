"""Tests of the wire-level stand-ins."""
