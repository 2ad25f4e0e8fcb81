//! Ingress by programs in the kernel: hosts that are network namespaces at a switch and in one mesh, containers that are
//! namespaces of theirs, and a client at the switch that knows of neither.

mod carried;
mod packets;
mod stage;
mod vectors;
