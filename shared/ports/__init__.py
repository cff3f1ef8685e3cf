"""What the stages need from the world, each a small Protocol in the field's words.

Adapters stand in `shared.gcp` (Google's services), `shared.upstream` (package indexes) and `shared.memory` (the
in-process twins). An adapter turns foreign exceptions into `Permanent` or `Transient`.
"""
