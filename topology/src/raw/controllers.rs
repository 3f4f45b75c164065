//! Controllers as written.

use super::Reader;
use crate::address;
use crate::diagnostic::{Code, Place, Spanned};
use crate::keys::{self, CONTROLLER_ID};
use crate::yaml::Value;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// A controller.
pub(crate) struct RawController {
    pub(crate) place: Place,
    pub(crate) id: Spanned<u64>,
    pub(crate) node: Spanned<String>,
    pub(crate) address: Spanned<IpAddr>,
    pub(crate) interface: Option<Spanned<String>>,
}

impl Reader<'_> {
    pub(super) fn controllers(&mut self, value: &Value<'_>) -> Spanned<Vec<RawController>> {
        let help = "write a list, one `- {id: 1, node: a, address: 10.250.0.1}` for each controller";
        let items = self.list(value, "`controllers`", help).unwrap_or(&[]);
        let found = items.iter().filter_map(|item| self.controller(item)).collect();
        Spanned { value: found, place: value.place }
    }

    fn controller(&mut self, value: &Value<'_>) -> Option<RawController> {
        let fields = self.fields(value, &keys::CONTROLLER)?;
        let help = "write the controller's number in the cluster, as in `id: 1`";
        let id = self.required(&fields, "id", help).and_then(|value| {
            let id = self.integer(value, "`id`", CONTROLLER_ID, Code::OUT_OF_RANGE, help)?;
            Some(Spanned { value: id, place: value.place })
        });
        let node = self.node_of(&fields, "node");
        let help = "write the controller's address without a length, as in `address: 10.250.0.1`";
        let address = self.required(&fields, "address", help);
        let address = address.and_then(|value| self.controller_address(value, help));
        let interface = fields.get("interface").map(|value| {
            let help = "write the node's port to the controller, as in `interface: ctl0`";
            let text = self.text(value, "`interface`", help)?;
            let good = self.check_interface(text, value.place);
            good.then(|| Spanned { value: text.to_owned(), place: value.place })
        });
        let interface = interface.map_or(Some(None), |interface| interface.map(Some));
        Some(RawController {
            place: value.place,
            id: id?,
            node: node?,
            address: address?,
            interface: interface?,
        })
    }

    fn controller_address(&mut self, value: &Value<'_>, help: &str) -> Option<Spanned<IpAddr>> {
        let address = self.address(value, "a controller", help)?;
        if address::reserved(&IpNetwork::from(address.value)).is_some() {
            let message = format!("{} is no address of a controller", address.value);
            self.problems.error(Code::BAD_ADDRESS, value.place, message, help);
            return None;
        }
        Some(address)
    }
}
