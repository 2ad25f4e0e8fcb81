//! Users and groups by the names that an image gives them (passwd(5), group(5)).

use std::collections::BTreeSet;

/// As whom a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Further groups.
    pub(super) groups: BTreeSet<u32>,
}

/// Reads `name`, `uid`, `name:group` or `uid:gid`, with further groups by name or number.
pub(super) fn user(
    text: &str,
    further: &[String],
    passwd: &str,
    group: &str,
) -> Result<User, String> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = name.parse::<u32>().ok();
    let entry = passwd.lines().map(|it| it.split(':').collect::<Vec<_>>()).find(|fields| {
        let uid = fields.get(2).and_then(|it| it.parse::<u32>().ok());
        fields.first() == Some(&name) || (number.is_some() && uid == number)
    });
    let field = |index: usize| {
        entry.as_ref().and_then(|it| it.get(index)).and_then(|it| it.parse::<u32>().ok())
    };
    let uid = field(2).or(number).ok_or_else(|| {
        format!("there is no user `{name}` in the image's /etc/passwd; name one, or a number")
    })?;
    let mut user = User { uid, gid: field(3).unwrap_or(0), groups: BTreeSet::new() };
    match group_name {
        Some(named) => user.gid = group_id(named, group)?,
        // Without a group of one's own choice, all that the name is a member of.
        None => {
            let own = entry.as_ref().and_then(|it| it.first().copied()).unwrap_or(name);
            user.groups.extend(memberships(own, group));
        }
    }
    for named in further {
        user.groups.insert(group_id(named, group)?);
    }
    Ok(user)
}

fn group_id(name: &str, group: &str) -> Result<u32, String> {
    let named = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    });
    named.or_else(|| name.parse().ok()).ok_or_else(|| {
        format!("there is no group `{name}` in the image's /etc/group; name one, or a number")
    })
}

fn memberships<'a>(name: &'a str, group: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let fields: Vec<_> = line.split(':').collect();
        let members = fields.get(3)?;
        let is_in = members.split(',').any(|it| it.trim() == name);
        is_in.then(|| fields.get(2)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/work:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\naudio:x:29:app,other\n";

    fn read(text: &str, further: &[&str]) -> Result<(u32, u32, Vec<u32>), String> {
        let further: Vec<_> = further.iter().map(|it| (*it).to_owned()).collect();
        let user = user(text, &further, PASSWD, GROUP)?;
        Ok((user.uid, user.gid, user.groups.into_iter().collect()))
    }

    #[test]
    fn users_are_read_as_docker_reads_them() {
        assert_eq!(read("", &[]), Ok((0, 0, vec![])));
        assert_eq!(read("app", &[]), Ok((1000, 1001, vec![29])));
        assert_eq!(read("1000", &["audio"]), Ok((1000, 1001, vec![29])));
        assert_eq!(read("app:audio", &["7"]), Ok((1000, 29, vec![7])));
        assert_eq!(read("4242", &[]), Ok((4242, 0, vec![])));
        assert_eq!(read("4242:4343", &[]), Ok((4242, 4343, vec![])));
    }

    #[test]
    fn names_that_are_not_there_are_named() {
        assert!(read("nobody", &[]).unwrap_err().contains("`nobody`"));
        assert!(read("app", &["wheel"]).unwrap_err().contains("`wheel`"));
    }
}
