//! What an app has installed, and which of its actions a change runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tradewind_model::query::Reach;
use tradewind_model::schema::Schema;
use tradewind_model::{ActionDeclaration, Json};
use tradewind_runtime::Plugin;

/// An app as it is deployed. Immutable: a new deployment is a new value.
pub struct App {
    /// Its key.
    pub key: Arc<str>,
    /// Its models.
    pub schema: Arc<Schema>,
    /// In the order in which their actions run.
    plugins: Vec<Arc<Installed>>,
}

/// A version of a plugin that an app has installed.
pub struct Installed {
    /// The plugin's name within the app.
    pub name: String,
    /// Which build.
    pub version: String,
    /// The plugin itself.
    pub plugin: Arc<Plugin>,
    /// Settings that the operator made.
    pub config: BTreeMap<String, Json>,
    /// Secrets that the operator granted.
    pub secrets: BTreeMap<String, String>,
}

impl Installed {
    /// The records that the plugin may reach.
    pub(crate) fn reach(&self) -> Reach {
        if self.plugin.grants().all_shops { Reach::App } else { Reach::Shop }
    }
}

/// An action of an installed plugin.
#[derive(Clone)]
pub struct Route {
    /// The plugin.
    pub installed: Arc<Installed>,
    action: usize,
}

impl Route {
    /// What the action says of itself.
    pub fn action(&self) -> &ActionDeclaration {
        &self.installed.plugin.description().actions[self.action]
    }

    /// Whether an option of the action is `true`.
    pub(crate) fn is_set(&self, option: &str) -> bool {
        self.action().options.get(option).is_some_and(|value| value.as_str() == "true")
    }

    fn order(&self) -> i64 {
        self.action().options.get("order").and_then(|order| order.to().ok()).unwrap_or_default()
    }
}

impl App {
    /// An app with its plugins. Actions on the same change run by their `order`, then by the plugins' names.
    pub fn new(key: &str, schema: Schema, mut plugins: Vec<Installed>) -> Self {
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        Self { key: key.into(), schema: Arc::new(schema), plugins: plugins.into_iter().map(Arc::new).collect() }
    }

    /// The actions that run when `verb` happens to a record of `model`, in their order.
    pub fn actions_on(&self, model: &str, verb: &str) -> Vec<Route> {
        let runs = |action: &ActionDeclaration| action.models.iter().any(|on| on.model == model && on.verb == verb);
        let mut routes = self.routes(runs);
        routes.sort_by_key(Route::order);
        routes
    }

    /// The actions that run for a webhook topic that no model mirrors.
    pub fn actions_for_topic(&self, platform: &str, topic: &str) -> Vec<Route> {
        self.routes(|action| action.webhooks.iter().any(|on| on.platform == platform && on.topic == topic))
    }

    /// The topics of a platform that actions ask for by name.
    pub fn topics(&self, platform: &str) -> Vec<String> {
        let actions = self.plugins.iter().flat_map(|installed| &installed.plugin.description().actions);
        let wanted = actions.flat_map(|action| &action.webhooks).filter(|on| on.platform == platform);
        wanted.map(|on| on.topic.clone()).collect()
    }

    /// The action of this name; the first plugin's that has one.
    pub fn action(&self, name: &str) -> Option<Route> {
        self.routes(|action| action.name == name).into_iter().next()
    }

    /// The action of a certain plugin.
    pub(crate) fn action_of(&self, plugin: &str, name: &str) -> Option<Route> {
        self.routes(|action| action.name == name).into_iter().find(|route| route.installed.name == plugin)
    }

    /// The records that the plugin of this name may reach; without one, the shop's own.
    pub(crate) fn reach_of(&self, plugin: Option<&str>) -> Reach {
        let installed = self.plugins.iter().find(|installed| plugin == Some(installed.name.as_str()));
        installed.map_or(Reach::Shop, |installed| installed.reach())
    }

    fn routes(&self, wanted: impl Fn(&ActionDeclaration) -> bool) -> Vec<Route> {
        let of_plugin = |installed: &Arc<Installed>| {
            let actions = installed.plugin.description().actions.iter().enumerate();
            let wanted = actions.filter(|(_, action)| wanted(action)).map(|(at, _)| at).collect::<Vec<_>>();
            let installed = Arc::clone(installed);
            wanted.into_iter().map(move |action| Route { installed: Arc::clone(&installed), action })
        };
        self.plugins.iter().flat_map(of_plugin).collect()
    }
}
