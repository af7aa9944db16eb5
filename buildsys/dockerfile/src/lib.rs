//! Dockerfile parsing with byte spans, variable expansion, .dockerignore, and lowering to a stage plan.
