//! What every executor must do. Each implementation's tests call [`all`].
