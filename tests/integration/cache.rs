//! Compiled artifacts and the pool: compiled once, loaded afterwards; damage is a miss; a larger plugin gets a larger pool.

use std::fs;
use std::path::{Path, PathBuf};

use tradewind_runtime::{ArtifactCache, Grants, Plugin, Runtime, RuntimeConfig};
use tradewind_tests::components::Component;
use tradewind_tests::{Fixture, limits};

fn runtime(folder: &Path) -> Runtime {
    let config = RuntimeConfig { limits: limits(), slots: 4, ..RuntimeConfig::default() };
    Runtime::new(config, ArtifactCache::in_folder(folder).unwrap()).unwrap()
}

async fn install(runtime: &Runtime, component: Component<'_>) -> Plugin {
    runtime.install(component.bytes(), Grants::usual()).await.unwrap()
}

async fn assert_works(runtime: &Runtime, plugin: &Plugin) {
    let outcome = Fixture::new("odd").call_in(runtime, plugin).await;
    assert_eq!(outcome.result.unwrap().as_str(), "null");
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[tokio::test]
async fn compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = runtime(folder.path());
    assert!(!install(&first, Component::default()).await.is_from_cache());
    assert!(install(&first, Component::default()).await.is_from_cache());
    // Another process, and a plugin of other bytes.
    let second = runtime(folder.path());
    let cached = install(&second, Component::default()).await;
    assert!(cached.is_from_cache());
    assert_works(&second, &cached).await;
    assert!(!install(&second, Component { action: "other", ..Component::default() }).await.is_from_cache());
    assert_eq!((files(folder.path(), "artifact").len(), files(folder.path(), "sha256").len()), (2, 2));
}

/// Whatever is wrong with the files, the plugin is compiled again and works, and the next time it is cached.
#[tokio::test]
async fn damage_is_a_miss() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 7] = [
        ("a bit is flipped", |artifact, _| {
            let mut bytes = fs::read(artifact).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(artifact, bytes).unwrap();
        }),
        ("it is cut off", |artifact, _| {
            let bytes = fs::read(artifact).unwrap();
            fs::write(artifact, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("it is empty", |artifact, _| fs::write(artifact, "").unwrap()),
        ("it is gone", |artifact, _| fs::remove_file(artifact).unwrap()),
        ("the digest is gone", |_, digest| fs::remove_file(digest).unwrap()),
        ("the digest is another one", |_, digest| fs::write(digest, "0".repeat(64)).unwrap()),
        ("the digest is not text", |_, digest| fs::write(digest, [0xff; 64]).unwrap()),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        install(&runtime(folder.path()), Component::default()).await;
        damage(&files(folder.path(), "artifact")[0], &files(folder.path(), "sha256")[0]);
        let runtime = runtime(folder.path());
        let plugin = install(&runtime, Component::default()).await;
        assert!(!plugin.is_from_cache(), "{what}");
        assert_works(&runtime, &plugin).await;
        assert!(install(&runtime, Component::default()).await.is_from_cache(), "{what}: not repaired");
    }
}

/// A folder that cannot be written costs time, not the plugin.
#[tokio::test]
async fn a_cache_that_cannot_keep() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path());
    fs::remove_dir(folder.path()).unwrap();
    let plugin = install(&runtime, Component::default()).await;
    assert!(!plugin.is_from_cache());
    assert_works(&runtime, &plugin).await;
}

#[cfg(unix)]
#[test]
fn the_folder_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("artifacts");
    ArtifactCache::in_folder(&inside).unwrap();
    assert_eq!(fs::metadata(inside).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Initial memories of every size share one pool. A pool of 1,000 slots for each would take more address space than there
/// is.
#[tokio::test]
async fn plugins_that_grow_share_a_pool() {
    let config = RuntimeConfig { limits: limits(), ..RuntimeConfig::default() };
    let runtime = Runtime::new(config, ArtifactCache::none()).unwrap();
    let mut plugins = Vec::new();
    for pages in 1..=60 {
        let module = format!("(memory {pages}) (table {pages} funcref)");
        plugins.push(install(&runtime, Component { module: &module, ..Component::default() }).await);
    }
    for plugin in &plugins {
        assert_works(&runtime, plugin).await;
    }
}

/// The pool is sized by the first plugin; one of more memories gets a larger pool, and both keep working.
#[tokio::test]
async fn the_pool_grows_with_what_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path());
    let small = install(&runtime, Component::default()).await;
    let instances = "(core module $empty)".to_owned() + &"(core instance (instantiate $empty))".repeat(40);
    let large = Component {
        module: "(memory 1) (memory 1) (table 100 funcref) (table 1 funcref) (table 1 funcref)",
        last: &instances,
        ..Component::default()
    };
    let large = install(&runtime, large).await;
    assert_eq!((large.needs().core_instances, large.needs().memories, large.needs().tables), (42, 3, 3));
    let again = install(&runtime, Component { action: "other", ..Component::default() }).await;
    assert_works(&runtime, &small).await;
    assert_works(&runtime, &large).await;
    let outcome = Fixture::new("other").call_in(&runtime, &again).await;
    assert_eq!(outcome.result.unwrap().as_str(), "null");
}
