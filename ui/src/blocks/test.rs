use super::*;
use serde_json::json;

fn read(v: Value) -> Result<NodeSpec, String> {
    let Value::Object(map) = v else { panic!("{v}") };
    node(map)
}

#[test]
fn nodes_are_read_as_json_and_as_words() {
    let a = read(json!({
        "driver": "qcow2", "node-name": "a", "read-only": true, "discard": "unmap",
        "file": {"driver": "file", "filename": "/x", "locking": "off"},
        "backing": null, "l2-cache-size": 65536,
    }))
    .unwrap();
    let b = read(json!({
        "driver": "qcow2", "node-name": "a", "read-only": "on", "discard": "on",
        "file": {"driver": "file", "filename": "/x", "locking": "off"},
        "backing": null, "l2-cache-size": "64K",
    }))
    .unwrap();
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    let Driver::Qcow2 { file: Child::Spec(file), qcow2 } = a.driver else { panic!() };
    assert!(matches!(file.driver, Driver::File { locking: false, .. }));
    assert!(matches!(qcow2.backing, block::Backing::None) && qcow2.l2_cache == Some(65536));
}

#[test]
fn wrong_nodes_say_what_is_wrong() {
    for (v, why) in [
        (json!({"driver": "nbd"}), "no driver 'nbd'"),
        (json!({"driver": "raw"}), "'file' is missing"),
        (json!({"driver": "file"}), "'filename' is missing"),
        (json!({"driver": "file", "filename": 7}), "'filename' is 7: a string was expected"),
        (json!({"driver": "file", "filename": "x", "aio": "fast"}), "aio=fast"),
        (json!({"driver": "null-co", "size": "big"}), "'size' is \"big\": a number was expected"),
        (json!({"driver": "null-co", "foo": 1}), "'foo' is unexpected"),
        (
            json!({"driver": "null-co", "cache": {"writeback": true, "x": 1}}),
            "cache: 'x' is unexpected",
        ),
        (json!({"driver": "raw", "file": {"driver": "y"}}), "file: no driver 'y'"),
        (
            json!({"driver": "blkdebug", "image": "a", "inject-error": [{"event": "sunset"}]}),
            "event 'sunset'",
        ),
        (
            json!({"driver": "throttle", "file": "a", "bps-total": 1, "bps-read": 1}),
            "bps-total cannot",
        ),
    ] {
        let said = read(v.clone()).unwrap_err();
        assert!(said.starts_with(why), "{v}: {said}");
    }
}
