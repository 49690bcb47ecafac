"""Parsers of the layouts, generated from ksy/ by compile.mjs; do not edit."""
