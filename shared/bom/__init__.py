"""What comes out of a run for others to read: CycloneDX bills of materials and what their flaws mean (VEX)."""
