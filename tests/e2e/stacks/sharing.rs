//! Containers that live in another's network: they stay with it, whatever becomes of it.

use super::*;

fn file(greeting: &str) -> String {
    format!(
        r#"
services:
  gate:
    image: busybox
    command: ["sh", "-c", "mkdir -p /www && echo {greeting} > /www/index.html && exec httpd -f -p 80 -h /www"]
    stop_grace_period: 0s
  app:
    image: busybox
    command: ["sleep", "3600"]
    stop_grace_period: 0s
    restart: "no"
    network_mode: "service:gate"
"#
    )
}

/// Whether the app hears this on its own loopback; it may be on its way just now.
fn hears(stack: &Stack, greeting: &str) -> bool {
    let name = format!("{}-app-1", stack.project);
    let words = ["exec", &name, "wget", "-q", "-O-", "http://127.0.0.1/"];
    let output = engine().command("docker").args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim_end() == greeting
}

#[test]
fn an_app_in_the_network_of_a_gate_follows_it_through_a_restart_and_a_replacement() {
    let stack = Stack::new("sharing", &file("first"));
    stack.up();
    stack.until("the app reaches the gate", |it| hears(it, "first"));
    let app = stack.inspect("app-1")["Id"].clone();

    stack.fizz(&["restart", "gate"]).ok();
    stack.until("the app follows the restarted gate", |it| hears(it, "first"));
    assert_eq!(stack.inspect("app-1")["Id"], app, "it starts again in place");

    stack.write("compose.yaml", &file("second"));
    stack.up();
    stack.until("the app follows the new gate", |it| hears(it, "second"));
    let settled = stack.running();
    assert_ne!(stack.inspect("app-1")["Id"], app);
    sleep(Duration::from_secs(3));
    assert!(stack.touched_since(&settled).is_empty(), "once is enough");
    stack.down();
}
