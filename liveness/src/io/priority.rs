//! What a process needs to be on time: a real-time priority, and memory that is never paged out. Where it is not
//! allowed, the process says so and goes on.

use nix::sys::mman::{MlockAllFlags, mlockall};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Above ordinary work, below the kernel's own threads (50).
const PRIORITY: u8 = 20;

/// Asks for both; gives what was refused, in words.
pub(crate) fn acquire() -> Vec<String> {
    let mut lacks = Vec::new();
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let priority = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    let set = priority.map(|priority| set_thread_priority_and_policy(thread_native_id(), priority, policy));
    if !matches!(set, Ok(Ok(()))) {
        lacks.push(
            "real-time priority is not allowed (CAP_SYS_NICE): short intervals may be missed under load"
                .into(),
        );
    }
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        lacks.push(format!("memory cannot be locked ({}): raise LimitMEMLOCK", error.desc()));
    }
    lacks
}
