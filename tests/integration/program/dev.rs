//! `tradewind dev --once`: one edit through the whole way.

use std::process::Output;

use tradewind_tests::plugins_folder;

use super::tradewind;

fn once(plugin: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugins_folder().unwrap().join(format!("{plugin}.wasm"));
    tradewind().args(["dev", "--once"]).arg(plugin).arg("--folder").arg(folder.path()).output().unwrap()
}

#[test]
fn an_edit_comes_back_as_tags() {
    let output = once("product-tagger");
    let (told, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{told}{errors}");
    for expected in [
        "store    http://127.0.0.1:",
        "  webhook   #",
        " products/update of hats.myshopify.com, ",
        "verified and on disk",
        "  plugin    product-tagger/tag-product run: ok, ",
        "  commit    #",
        "shopify/product ",
        "  plugin    product-tagger/tag-product success: ok, ",
        "  call      AddTags: 200, ",
        ", cost ",
        "1 of our own writes led here",
        "  ← echo of product-tagger",
        "the store has the tags ",
        "and their echo was recognised",
    ] {
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
    // What the plugin found is what the feed shows and what the store has.
    for tag in ["straw", "brim"] {
        assert!(told.lines().last().unwrap().contains(tag), "{tag}: {told}");
    }
    assert!(!told.contains("shpat_") && !errors.contains("shpat_"), "{told}{errors}");
}

#[test]
fn a_plugin_that_does_nothing_is_told_so() {
    let output = once("title-upcase");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("no plugin changed the product in the store; hint: "), "{errors}");
}
