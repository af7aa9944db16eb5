//! A Docker Engine, spoken to through bollard.
