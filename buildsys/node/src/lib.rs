//! A real one-node Kubernetes on this machine, by kubeadm.
