//! The running program as what the kernel should hold. Its routes are never made one by one: a route follows from the
//! prefix table and the program's classes, so a million of them take no memory of their own, only a bit each for "the
//! kernel holds it".

use plan::objects::{RouteKey, RouteValue};
use plan::program::{ClassId, ClassRoute, PrefixTable};
use plan::{Objects, Program};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What a kernel is compared with.
pub trait Desired {
    /// All objects; routes may be left out where [`Desired::each_route`] tells them.
    fn objects(&self) -> &Objects;
    /// Every route with its place among the places, where it has one.
    fn each_route(&self, see: &mut dyn FnMut(Option<usize>, RouteKey, RouteValue));
    /// What a route should say; `None`: there should be none.
    fn route(&self, key: &RouteKey) -> Option<RouteValue>;
    /// The class that a route belongs to, where that is known.
    fn class(&self, key: &RouteKey) -> Option<ClassId>;
}

impl Desired for Objects {
    fn objects(&self) -> &Objects {
        self
    }

    fn each_route(&self, see: &mut dyn FnMut(Option<usize>, RouteKey, RouteValue)) {
        self.routes.iter().for_each(|(key, value)| see(None, *key, *value));
    }

    fn route(&self, key: &RouteKey) -> Option<RouteValue> {
        self.routes.get(key).copied()
    }

    fn class(&self, _: &RouteKey) -> Option<ClassId> {
        None
    }
}

/// A program and its table. Every class route of every prefix has a place, a number that stays for as long as this value.
#[derive(Clone)]
pub struct Wanted {
    /// All but the routes of the table.
    objects: Objects,
    program: Arc<Program>,
    table: Arc<PrefixTable>,
    /// Places of a prefix: as many as the class with the most routes has.
    stride: usize,
    has_mtus: bool,
    routes: u64,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Wanted({} routes)", self.routes)
    }
}

impl Wanted {
    /// All that the program stands for.
    pub fn of(program: &Arc<Program>, table: &Arc<PrefixTable>) -> Wanted {
        let objects = Objects::of(program, &PrefixTable::default());
        let of_class = program.classes.chunk_by(|a, b| a.class == b.class).map(<[_]>::len);
        let mut wanted = Wanted {
            objects,
            program: program.clone(),
            table: table.clone(),
            stride: of_class.max().unwrap_or(0),
            has_mtus: program.groups.iter().any(|group| group.route_mtu_bytes.is_some()),
            routes: 0,
        };
        let mut routes = 0;
        wanted.each_route(&mut |_, _, _| routes += 1);
        wanted.routes = routes;
        wanted
    }

    /// One more than the largest place.
    pub fn places(&self) -> usize {
        self.table.entries.len() * self.stride
    }

    /// Number of routes.
    pub fn routes(&self) -> u64 {
        self.routes
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The place of a route of the table and what it should say.
    pub fn place(&self, key: &RouteKey) -> Option<(usize, RouteValue)> {
        if self.is_discard(key) {
            return None;
        }
        let entry = self.table.entries.binary_search_by_key(&key.prefix, |(prefix, _)| *prefix).ok()?;
        let routes = self.program.class_routes(self.table.entries[entry].1);
        let at = routes.iter().position(|route| route.metric == key.metric && route.table == key.table)?;
        Some((entry * self.stride + at, self.value(key, &routes[at])))
    }

    /// A discard takes the place of the table's route.
    fn is_discard(&self, key: &RouteKey) -> bool {
        !self.objects.routes.is_empty() && self.objects.routes.contains_key(key)
    }

    fn value(&self, key: &RouteKey, route: &ClassRoute) -> RouteValue {
        let group = self.program.group(route.group).filter(|_| self.has_mtus);
        let mtu_bytes = group.and_then(|group| group.route_mtu_bytes);
        let preferred_source = match key.prefix.ip() {
            IpAddr::V4(_) => self.program.preferred_source_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.program.preferred_source_v6.map(IpAddr::V6),
        };
        RouteValue::Via { group: route.group, preferred_source, mtu_bytes }
    }
}

impl Desired for Wanted {
    fn objects(&self) -> &Objects {
        &self.objects
    }

    fn each_route(&self, see: &mut dyn FnMut(Option<usize>, RouteKey, RouteValue)) {
        let mut last = (None, &[][..]);
        for (entry, (prefix, class)) in self.table.entries.iter().enumerate() {
            if last.0 != Some(*class) {
                last = (Some(*class), self.program.class_routes(*class));
            }
            for (at, route) in last.1.iter().enumerate() {
                let key = RouteKey { table: route.table, prefix: *prefix, metric: route.metric };
                if !self.is_discard(&key) {
                    see(Some(entry * self.stride + at), key, self.value(&key, route));
                }
            }
        }
        self.objects.each_route(see);
    }

    fn route(&self, key: &RouteKey) -> Option<RouteValue> {
        self.place(key).map(|(_, value)| value).or_else(|| self.objects.route(key))
    }

    fn class(&self, key: &RouteKey) -> Option<ClassId> {
        self.table.class_of(&key.prefix)
    }
}

/// A set of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<u64>);

impl Places {
    /// None of `places`.
    pub fn none_of(places: usize) -> Places {
        Places(vec![0; places.div_ceil(64)])
    }

    /// Whether a place is in the set.
    pub fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Puts a place in or takes it out; one beyond the last is passed over.
    pub fn set(&mut self, place: usize, to: bool) {
        if let Some(word) = self.0.get_mut(place / 64) {
            let bit = 1 << (place % 64);
            *word = if to { *word | bit } else { *word & !bit };
        }
    }

    /// Adds all places of another set of the same size.
    pub fn add(&mut self, other: &Places) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// Number of places in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::{HOST, network};

    #[test]
    fn routes_are_those_of_the_objects_and_each_is_found_at_its_place() {
        let network = network(40);
        let (program, _) = network.host(HOST).unwrap();
        let wanted = Wanted::of(program, &network.table);
        let objects = Objects::of(program, &network.table);
        let mut told = Objects::default().routes;
        let mut places = Places::none_of(wanted.places());
        wanted.each_route(&mut |place, key, value| {
            assert_eq!(wanted.place(&key), place.map(|place| (place, value)));
            places.set(place.unwrap(), true);
            told.insert(key, value);
        });
        assert_eq!(told, objects.routes);
        assert_eq!((places.count(), wanted.routes()), (told.len() as u64, told.len() as u64));
        let absent = RouteKey { table: 254, prefix: "203.0.113.0/24".parse().unwrap(), metric: 100 };
        assert_eq!(wanted.route(&absent), None);
    }

    #[test]
    fn a_place_beyond_the_last_is_never_in_the_set() {
        let mut places = Places::none_of(65);
        places.set(64, true);
        places.set(1_000, true);
        assert!(places.has(64) && !places.has(63) && !places.has(1_000));
        places.set(64, false);
        assert_eq!(places.count(), 0);
    }
}
