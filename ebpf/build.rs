//! Compiles the programs of ingress, for the kernel, with clang.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=ebpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("ingress.bpf.o");
    let endian = env::var("CARGO_CFG_TARGET_ENDIAN").unwrap_or_default();
    let target = if endian == "big" { "bpfeb" } else { "bpfel" };
    let compiled = Command::new(&clang)
        .args(["-target", target, "-mcpu=v3", "-O2", "-g", "-std=gnu11"])
        .args(["-Wall", "-Wextra", "-Werror", "-c", "ebpf/ingress.bpf.c", "-o"])
        .arg(&out)
        .status();
    match compiled {
        Ok(status) if status.success() => {}
        Ok(status) => {
            println!(
                "cargo::error=`{clang}` does not compile ebpf/ingress.bpf.c ({status}): it says why above"
            );
        }
        Err(why) => println!(
            "cargo::error=can't run `{clang}`, which compiles the programs for the kernel: {why}; install the \
             package clang, or name one by CLANG"
        ),
    }
}
