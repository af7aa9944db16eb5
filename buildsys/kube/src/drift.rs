//! What in a cluster differs from what was applied.

use kube::Api;
use kube::api::{DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::Value;

use crate::{Cluster, KubeError};

/// Who asks what applying would change.
const MANAGER: &str = "tbuild-drift";

/// One difference between an object as it was applied and as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    /// `KIND NAME`.
    pub object: String,
    /// Where in it, such as `spec.template.spec.containers[0].image`; empty for the object itself.
    pub path: String,
    /// What is there now; null if nothing is.
    pub is: Value,
    /// What was applied; null if nothing was.
    pub applied: Value,
}

impl Cluster {
    /// How `documents`, manifests that were applied, differ from what is there. The API server itself is asked what
    /// applying each of them again would change (a server-side apply that is not carried out), so defaults and ways
    /// of writing the same are no differences; what others have added beside is none, either.
    pub async fn drift(
        &self,
        namespace: &str,
        documents: &[Value],
    ) -> Result<Vec<Drift>, KubeError> {
        let mut found = Vec::new();
        for document in documents.iter().filter(|document| document.is_object()) {
            found.extend(self.drift_of(namespace, document).await?);
        }
        Ok(found)
    }

    async fn drift_of(&self, namespace: &str, document: &Value) -> Result<Vec<Drift>, KubeError> {
        let text = |path: &str| document.pointer(path).and_then(Value::as_str);
        let (kind, name) = (
            text("/kind").unwrap_or_default(),
            text("/metadata/name").unwrap_or_default(),
        );
        let object = format!("{kind} {name}");
        let action = format!("compare {object}");
        let version = text("/apiVersion").unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let client = self.client();
        let (resource, capabilities) = self
            .ask(&action, kube::discovery::pinned_kind(&client, &kind))
            .await?;
        let api: Api<DynamicObject> = match capabilities.scope {
            kube::discovery::Scope::Cluster => Api::all_with(client, &resource),
            kube::discovery::Scope::Namespaced => {
                let namespace = text("/metadata/namespace").unwrap_or(namespace);
                Api::namespaced_with(client, namespace, &resource)
            }
        };
        let Some(now) = self.ask(&action, api.get_opt(name)).await? else {
            return Ok(vec![Drift {
                object,
                path: String::new(),
                is: Value::Null,
                applied: "present".into(),
            }]);
        };
        let parameters = PatchParams::apply(MANAGER).force().dry_run();
        let patch = Patch::Apply(document);
        let applied = api.patch(name, &parameters, &patch);
        let applied = match self.ask(&action, applied).await {
            // What cannot be changed any more (a Job's template, a claim's volume) is what it was.
            Err(KubeError::Refused {
                code: 422, message, ..
            }) => {
                return Ok(vec![Drift {
                    object,
                    path: String::new(),
                    is: message.into(),
                    applied: Value::Null,
                }]);
            }
            applied => applied?,
        };
        let mut found = Vec::new();
        let (now, applied) = (plain(&now), plain(&applied));
        differences("", &now, &applied, &mut |path, is, applied| {
            found.push(Drift {
                object: object.clone(),
                path,
                is,
                applied,
            });
        });
        Ok(found)
    }
}

/// An object without what the API server itself keeps in it.
fn plain(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for own in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(own);
            }
        }
    }
    value
}

fn differences(
    path: &str,
    is: &Value,
    applied: &Value,
    tell: &mut impl FnMut(String, Value, Value),
) {
    match (is, applied) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let deeper = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let of = |map: &serde_json::Map<String, Value>| {
                    map.get(name).cloned().unwrap_or(Value::Null)
                };
                differences(&deeper, &of(one), &of(other), tell);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}[{at}]"), one, other, tell);
            }
        }
        (is, applied) if is != applied => tell(path.to_owned(), is.clone(), applied.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_told_where_they_are() {
        let mut found = Vec::new();
        differences(
            "",
            &json!({"spec": {"replicas": 3, "list": [1, {"a": 1}], "same": 1}, "more": 1}),
            &json!({"spec": {"replicas": 1, "list": [1, {"a": 2}], "same": 1}}),
            &mut |path, is, applied| found.push((path, is, applied)),
        );
        assert_eq!(
            found,
            [
                ("more".to_owned(), json!(1), json!(null)),
                ("spec.list[1].a".to_owned(), json!(1), json!(2)),
                ("spec.replicas".to_owned(), json!(3), json!(1)),
            ]
        );
    }
}
