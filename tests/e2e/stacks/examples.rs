//! The stacks in `examples/`, from `up` to `down -v`.

use super::*;

/// Ports that nothing else in the namespaces has.
const SHOP_PORT: &str = "18080";
const METRICS_PORT: &str = "18081";
const QUEUE_PORT: &str = "17000";

/// The containers of a service that `ps` calls healthy.
fn healthy(stack: &Stack, service: &str) -> usize {
    let all = stack.ps().into_iter();
    all.filter(|it| it["service"] == service && it["state"] == "healthy").count()
}

/// The containers of the shop that are not what they were. What prepares its database runs at each `up`
/// again, for a while.
fn touched(shop: &Stack, before: &BTreeMap<String, (String, String)>) -> Vec<String> {
    shop.until("the database is prepared", |it| {
        let all = it.ps();
        all.iter().any(|it| it["service"] == "migrate" && it["state"] == "stopped")
    });
    shop.touched_since(before)
}

#[test]
fn the_shop_sells_is_changed_scaled_looked_into_and_goes() {
    let mut shop = Stack::example("shop");
    shop.set("SHOP_PORT", SHOP_PORT);
    shop.up().tells(&["Plan for shop, which is new:", "+ service web: created"]);
    let url = format!("http://127.0.0.1:{SHOP_PORT}");
    assert!(get(&[&url]).contains("<h1>Shop</h1>"));
    let items = format!("{url}/cgi-bin/items");
    let sold = get(&["--post-data", "lamp", &items]);
    assert!(sold.contains("We have") && sold.contains("lamp"), "{sold}");

    // A field: the application's environment, and nothing else's.
    let before = shop.running();
    shop.set("SHOP_GREETING", "Fresh today");
    shop.up().tells(&[
        "~ service app: replaced",
        "environment.GREETING  \"We have\" -> \"Fresh today\"",
        "(3 services unchanged)",
    ]);
    assert_eq!(touched(&shop, &before), ["shop-app-1"]);
    let sold = get(&[&items]);
    assert!(sold.contains("Fresh today") && sold.contains("lamp"), "{sold}");

    // A file's content: the page of the web server.
    let before = shop.running();
    shop.edit("compose.yaml", "<p>The goods:", "<p>All goods:");
    shop.up().tells(&["~ service web: replaced"]);
    assert_eq!(touched(&shop, &before), ["shop-web-1"]);
    assert!(get(&[&url]).contains("All goods"));

    let before = shop.running();
    shop.fizz(&["scale", "app=3"]).ok();
    shop.until("three applications are healthy", |it| healthy(it, "app") == 3);
    assert_eq!(touched(&shop, &before), ["shop-app-2", "shop-app-3"]);
    shop.fizz(&["scale", "app=1"]).ok();
    shop.until("one is left", |it| healthy(it, "app") == 1);
    assert_eq!(touched(&shop, &before), [""; 0]);

    assert!(shop.fizz(&["logs", "web"]).ok().out.contains("response:200"));
    let said = shop.fizz(&["exec", "-T", "db", "sh", "-c", "cat /data/items; exit 7"]);
    assert_eq!((said.code, said.out.as_str()), (7, "lamp\n"), "{}", said.err);

    let ended: Vec<_> = shop.ps().into_iter().filter(|it| it["service"] == "migrate").collect();
    assert_eq!(ended.len(), 1);
    assert_places(&ended[0], &[("/state", "stopped".into()), ("/exit_code", 0.into())]);
    shop.down();
}

#[test]
fn metrics_arrive_over_networks_that_keep_their_sides_apart() {
    let mut metrics = Stack::example("metrics");
    metrics.set("METRICS_PORT", METRICS_PORT);
    if on_podman() {
        // It would set the other limit by itself, beyond what root may where these stories run.
        metrics.edit("compose.yaml", "nofile: 256", "nofile: 256\n      nproc: 512");
    }
    metrics.up();
    assert!(!metrics.running().contains_key("metrics-dashboard-1"), "its profile is off");
    metrics.fizz(&["--profile", "dashboard", "up", "--wait"]).ok();
    let samples = format!("http://127.0.0.1:{METRICS_PORT}/cgi-bin/samples");
    metrics.until("a sample is shown", |_| get(&[&samples]).contains(" load "));
    let agent =
        metrics.fizz(&["exec", "-T", "agent", "wget", "-q", "-T", "2", "-O-", "source:9000"]);
    assert_ne!(agent.code, 0, "an agent reaches the side of queries: {}", agent.out);

    let before = metrics.running();
    metrics.edit("compose.yaml", "EVERY_SECONDS: \"1\"", "EVERY_SECONDS: \"2\"");
    metrics
        .fizz(&["--profile", "dashboard", "up", "--wait"])
        .ok()
        .tells(&["~ service agent: replaced", "environment.EVERY_SECONDS  \"1\" -> \"2\""]);
    assert_eq!(metrics.touched_since(&before), ["metrics-agent-1"]);

    metrics.fizz(&["scale", "agent=2"]).ok();
    metrics.until("two agents push", |it| {
        let said = it.fizz(&["logs", "agent"]).ok().out;
        ["agent-1", "agent-2"]
            .iter()
            .all(|it| said.lines().any(|line| line.starts_with(it) && line.contains("pushed: ")))
    });
    assert_eq!(metrics.fizz(&["exec", "-T", "store", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(metrics.ps().len(), 4);
    metrics.down();
}

#[test]
fn the_queue_is_worked_off_and_its_workers_go_in_order() {
    let mut queue = Stack::example("queue");
    queue.set("QUEUE_PORT", QUEUE_PORT);
    queue.up();
    let tasks = format!("http://127.0.0.1:{QUEUE_PORT}/cgi-bin/tasks");
    assert!(get(&[&format!("{tasks}?count")]).trim().parse::<u32>().is_ok());
    queue.until("work is done", |it| it.fizz(&["logs", "consumer"]).ok().out.contains("done "));
    assert_eq!(queue.inside("consumer-1", "cat /tmp/state"), "ready");
    assert_eq!(queue.running().len(), 6);

    // A file: the numbers stand in `.env`.
    let before = queue.running();
    queue.edit(".env", "PRODUCE_EVERY_SECONDS=1", "PRODUCE_EVERY_SECONDS=3");
    queue.up().tells(&[
        "~ service producer: replaced",
        "environment.EVERY_SECONDS  \"1\" -> \"3\"",
        "(2 services unchanged)",
    ]);
    assert_eq!(queue.touched_since(&before), ["queue-producer-1", "queue-producer-2"]);

    let before = queue.running();
    queue.fizz(&["scale", "consumer=1"]).ok();
    queue.until("one consumer is left", |it| {
        it.running().keys().filter(|it| it.contains("consumer")).count() == 1
    });
    assert_eq!(queue.touched_since(&before), [""; 0]);
    assert_eq!(queue.fizz(&["exec", "-T", "broker", "sh", "-c", "exit 42"]).code, 42);
    let states: Vec<_> = queue.ps();
    assert!(
        states.iter().all(|it| it["project"] == "queue" && it["state"] != "failed"),
        "{states:#?}"
    );
    queue.down();
}
