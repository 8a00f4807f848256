"""Shared servers: one PostgreSQL cluster and one broker for the whole run, a database and topics per test."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
