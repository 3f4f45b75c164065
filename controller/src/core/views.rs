//! Answers to reads, as `wire::rest` documents.

use crate::core::Controller;
use crate::core::event::{Effect, Millis, ReadAnswer, ReadRequest};
impl Controller {
    pub(crate) fn read(&mut self, _read: &ReadRequest, _now: Millis, _out: &mut Vec<Effect>) -> ReadAnswer {
        ReadAnswer::NotFound(String::new())
    }
}
