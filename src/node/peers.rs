//! Containers that live in what is others': their namespaces, their volumes, their names.

use std::sync::Arc;

use super::{Node, local::Local};
use crate::{
    model::{ProjectName, RuntimeId, ServiceKey, ServiceName, spec::ServiceSpec},
    reconcile::{self, Owners},
    state::ContainerRecord,
};

impl Node {
    /// How those whose namespaces a container shares stand to it. Of a container that is not Fizz's
    /// nothing is known.
    pub(super) fn owners_of(&self, it: &Local, service: &ServiceKey) -> Owners {
        let foreign = |it| reconcile::enters_foreign(it);
        let unknown =
            if self.spec_of(service).is_none_or(foreign) { Owners::Keep } else { Owners::Gone };
        let stand = |owner: &RuntimeId| {
            let owner = self.state.containers().find(|it| it.runtime_id.as_ref() == Some(owner));
            let Some(owner) = owner else { return unknown };
            let anew = |owner: &Local| it.alive && owner.alive && it.began < owner.began;
            let anew = self.local.get(&owner.id).is_some_and(anew);
            if anew { Owners::BeganAnew } else { Owners::Keep }
        };
        it.shares.iter().map(stand).max().unwrap_or(Owners::Keep)
    }

    /// The containers whose namespaces or volumes a service's containers share: of each service the
    /// first that lives, or else that is made.
    pub(super) fn peers_of(
        &self,
        project: &ProjectName,
        spec: &ServiceSpec,
    ) -> Vec<(ServiceName, RuntimeId)> {
        let peer = |service: ServiceName| {
            let key = ServiceKey { project: project.clone(), service };
            let made = self.fleet.of(project).filter(|it| {
                it.node == self.me
                    && it.service == key
                    && it.one_off.is_none()
                    && it.runtime_id.is_some()
            });
            let found =
                self.living(project, &key.service).next().or(made.min_by_key(|it| it.created));
            Some((key.service.clone(), found?.runtime_id.clone()?))
        };
        reconcile::peers(spec).into_iter().filter_map(peer).collect()
    }

    pub(super) fn links_of(
        &self,
        project: &ProjectName,
        spec: &ServiceSpec,
    ) -> Vec<(ServiceName, String)> {
        let links = spec.container.links.iter().flat_map(|(name, _)| {
            self.living(project, name).map(|it| (name.clone(), it.name.to_string()))
        });
        links.collect()
    }

    fn living<'a>(
        &'a self,
        project: &'a ProjectName,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a Arc<ContainerRecord>> {
        let of_service = self
            .fleet
            .of(project)
            .filter(move |it| it.service.service == *service && it.node == self.me);
        of_service.filter(|it| {
            it.one_off.is_none() && self.local.get(&it.id).is_some_and(|local| local.alive)
        })
    }
}
