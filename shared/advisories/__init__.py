"""Advisories to findings: OSV records read, matched and rated; from zips or from OSV.dev's API."""
