//! Which names are allowed, and why others are not.

/// Longest name of a node, zone, label or network, in bytes: a DNS label's length (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 63;

/// Longest name of an interface, in bytes: IFNAMSIZ without the closing zero (linux/if.h).
const INTERFACE_BYTES_MAX: usize = 15;

/// Longest value of a label, in bytes.
const LABEL_BYTES_MAX: usize = 255;

/// Checks the name of a node, zone, label or network; an error says which rule is broken.
pub(crate) fn name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.len() > NAME_BYTES_MAX {
        Err("is longer than 63 bytes")
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        Err("has a character that is not allowed")
    } else if !text.as_bytes()[0].is_ascii_alphanumeric() {
        // Names become file names, and arguments of commands.
        Err("does not start with a letter or digit")
    } else if text.contains("--") {
        Err("contains `--`, which separates the two ends in the name of a link")
    } else {
        Ok(())
    }
}

/// Checks the name of an interface; an error says which rule is broken.
pub(crate) fn interface(text: &str) -> Result<(), &'static str> {
    if text.len() > INTERFACE_BYTES_MAX {
        Err("is longer than the 15 bytes that Linux allows")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte)) {
        Err("has a character that is not allowed")
    } else if matches!(text, "." | ".." | "lo" | "all" | "default") {
        // `all` and `default` are not interfaces but settings of all in /proc/sys/net.
        Err("is taken by Linux itself")
    } else {
        Ok(())
    }
}

/// Checks a label's value; an error says which rule is broken.
pub(crate) fn label_value(text: &str) -> Result<(), &'static str> {
    if text.len() > LABEL_BYTES_MAX {
        Err("is longer than 255 bytes")
    } else if text.chars().any(char::is_control) {
        Err("has a control character")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_confuse_a_link_id_or_a_shell_are_refused() {
        for good in ["seattle", "leaf-1.pod_2", "9", &"a".repeat(63)] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        for bad in ["", "a--b", "-a", ".", "..", "a b", "a:b", "a/b", "é", &"a".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces_follow_the_kernel() {
        for good in ["eth1", "enp0s31f6.100", "a", "swp1-2_x@y"] {
            assert_eq!(interface(good), Ok(()), "{good}");
        }
        for bad in ["lo", ".", "..", "all", "default", "a/b", "a:b", "a b", "eth%d", "enp0s31f6.100000"] {
            assert!(interface(bad).is_err(), "{bad}");
        }
    }
}
