//! Files into containers and out of them.

use std::io::Read;

use bytes::Bytes;
use fizz::runtime::RuntimeError;
use futures_util::{StreamExt, stream};

use crate::harness::Lab;

#[tokio::test]
async fn files_go_in_and_come_out() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let content = "x".repeat(300_000);
    header.set_mode(0o640);
    header.set_uid(1000);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "sub/file", content.as_bytes()).unwrap();
    let bytes = tar.into_inner().unwrap();
    let pieces: Vec<_> = bytes.chunks(8192).map(|it| Ok(Bytes::copy_from_slice(it))).collect();
    lab.runtime.copy_in(&id, "/work", stream::iter(pieces).boxed()).await.unwrap();
    assert_eq!(lab.sh(&id, "stat -c '%s %a %u' /work/sub/file").await, "300000 640 1000");

    let out: Vec<_> = lab.runtime.copy_out(&id, "/work/sub").map(Result::unwrap).collect().await;
    let out = out.concat();
    let mut archive = tar::Archive::new(&out[..]);
    let mut found = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("sub/file") {
            entry.read_to_string(&mut found).unwrap();
        }
    }
    assert_eq!(found, content);
}

#[tokio::test]
async fn what_cannot_be_copied_says_why() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let error = lab.runtime.copy_out(&id, "/nowhere").next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
    let error = lab.runtime.copy_in(&id, "/nowhere", stream::empty().boxed()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
    let broken = stream::iter([Err(std::io::Error::other("the disk is gone"))]).boxed();
    let error = lab.runtime.copy_in(&id, "/work", broken).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Failed { why, .. } if why.contains("disk is gone")),
        "{error}"
    );
}
