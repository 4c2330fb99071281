//! Installs an app: its plugins into the sandbox, its models into the store, its connections into the doors.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tradewind_model::Shop;
use tradewind_platform::shopify::{self, SigningSecrets};
use tradewind_runtime::Runtime;
use tradewind_store::Store;

use crate::config::{self, ExposeSecret};
use crate::ingress::Door;
use crate::pipeline::{App, Installed, Pipeline};

/// The apps whose plugins cannot be installed, by name.
#[derive(Debug, Default)]
pub(super) struct Failed(Mutex<BTreeSet<String>>);

impl Failed {
    pub(super) fn add(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(app.to_owned());
    }

    pub(super) fn remove(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Makes the sandbox large enough for all plugins at once. What cannot be read is told when it is installed.
pub(super) fn make_room(runtime: &Runtime, apps: &[config::App]) {
    let components: Vec<_> =
        apps.iter().flat_map(|app| &app.plugins).filter_map(|plugin| fs::read(&plugin.file).ok()).collect();
    if let Err(error) = runtime.reserve(components.iter().map(Vec::as_slice)) {
        tracing::warn!(%error, "the sandbox cannot be made large enough for all plugins");
    }
}

/// Loads an app's plugins. What fails here is the app's own fault, and no reason for others not to run.
pub(super) async fn load(app: &config::App, runtime: &Runtime) -> Result<Vec<Installed>> {
    let mut plugins = Vec::new();
    for plugin in &app.plugins {
        let what = || format!("app `{}`, plugin `{}` (`{}`)", app.name, plugin.name, plugin.file.display());
        let bytes = fs::read(&plugin.file).with_context(what)?;
        let digest = Sha256::digest(&bytes);
        let version = digest.iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let installed = runtime.install(bytes, plugin.grants.clone()).await.with_context(what)?;
        let secrets = plugin.secrets.iter().map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned()));
        plugins.push(Installed {
            name: plugin.name.clone(),
            version,
            plugin: Arc::new(installed.with_limits(plugin.limits.clone()).with_context(what)?),
            config: plugin.config.clone(),
            secrets: secrets.collect::<BTreeMap<_, _>>(),
        });
    }
    Ok(plugins)
}

/// Installs an app in the place of the one with the same name.
pub(super) async fn install(
    app: &config::App,
    plugins: Vec<Installed>,
    store: &Store,
    pipeline: &Pipeline,
    now: Duration,
) -> Result<()> {
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let deployed = store.deploy(&app.name, &app.schema, now_ms).await;
    deployed.with_context(|| format!("app `{}`: its models", app.name))?;
    pipeline.install(App::new(&app.name, app.schema.clone(), plugins));
    Ok(())
}

/// The doors of an app; closed as long as it is not installed.
pub(super) fn doors(app: &config::App, pipeline: &Pipeline) -> Vec<(String, Door)> {
    let installed = pipeline.app(&app.name);
    let doors = app.connections.iter().map(|(name, connection)| {
        let platform = connection.platform.as_str();
        let mirrored =
            shopify::models().into_iter().filter(|mirrored| connection.models.contains(&mirrored.model.name));
        let mut topics: HashSet<String> =
            mirrored.flat_map(|mirrored| mirrored.topics).map(|topic| (*topic).to_owned()).collect();
        topics.extend(installed.iter().flat_map(|app| app.topics(platform)));
        let previous = connection.previous_client_secret.as_ref().map(ExposeSecret::expose_secret);
        let shops = connection.shops.iter().map(|shop| (shop.domain.clone(), tenant(app, shop)));
        let door = Door {
            app: app.name.as_str().into(),
            platform: platform.into(),
            secrets: SigningSecrets::new(connection.client_secret.expose_secret(), previous),
            shops: shops.collect::<HashMap<_, _>>(),
            topics,
            closed: installed.is_none(),
        };
        (name.clone(), door)
    });
    doors.collect()
}

/// A shop's tenant: its domain never changes, so it is our id too.
pub(super) fn tenant(app: &config::App, shop: &config::Shop) -> Shop {
    Shop::new(app.name.as_str(), shop.domain.as_str())
}
