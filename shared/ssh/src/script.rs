//! What the shell of the other machine is told. Plain POSIX, with `setsid` of util-linux and `tail` of coreutils.

use std::collections::BTreeMap;

use exec::MARK_VARIABLE;

/// Quotes a word so that a POSIX shell reads it as it is.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The folder of a program there, as the shell sees it. `mark` names the run and `step` the program of it.
pub(crate) fn folder(mark: &str) -> String {
    format!("\"$HOME\"/.switchyard/{}", quoted(mark))
}

/// Starts the program unless it was started before: in a session of its own, apart from the connection, output into files. `program` has
/// the id of the program itself, `group` that of its session, and `code` comes when it has ended.
///
/// `setsid -f` and not `&`: what a shell puts into the background ignores SIGINT, and so would the program. A server that was itself
/// started in the background hands that on, and a shell cannot take it back: `env` can, where it is of coreutils.
pub(crate) fn start(
    mark: &str,
    argv: &[String],
    environment: &BTreeMap<String, String>,
    folder_there: Option<&str>,
) -> String {
    let folder = folder(mark);
    let argv: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    let argv = argv.join(" ");
    let variables: String = environment
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect();
    let cd = folder_there.map_or_else(String::new, |path| {
        format!("cd {} || exit 70\n", quoted(path))
    });
    // The outer shell outlives a SIGTERM to its group, to say how the program ended.
    let inner = r#"trap : TERM INT HUP
echo $$ >"$0/group"
r=
env --default-signal=INT true 2>/dev/null && r='env --default-signal=INT'
$r sh -c 'echo $$ >"$0/program"; exec "$@"' "$0" "$@"
code=$?
echo $code >"$0/code.new"
mv "$0/code.new" "$0/code""#;
    format!(
        r#"umask 077
d={folder}
mkdir -p "$d" || exit 70
if mkdir "$d/begun" 2>/dev/null; then
command -v setsid >/dev/null && command -v tail >/dev/null || {{ rmdir "$d/begun"; echo 'setsid and tail are needed' >&2; exit 71; }}
: >"$d/out"; : >"$d/err"
{variables}export {MARK_VARIABLE}={mark}
{cd}setsid -f sh -c {inner} "$d" {argv} </dev/null >"$d/out" 2>"$d/err"
fi
n=0
while [ ! -s "$d/group" ] || {{ [ ! -s "$d/program" ] && [ ! -s "$d/code" ]; }}; do
n=$((n+1)); [ $n -gt 200 ] && exit 72
sleep 0.05
done
cat "$d/group""#,
        mark = quoted(mark),
        inner = quoted(inner),
    )
}

/// Follows a file from a byte on until the program has ended.
pub(crate) fn follow(mark: &str, file: &str, group: &str, from: u64) -> String {
    let folder = folder(mark);
    format!(
        "exec tail -c +{} -s 0.2 -f --pid={group} {folder}/{file}",
        from + 1
    )
}

/// Prints the ids of what is still there of a program: by its session, and by the mark that all its children carry.
fn left(mark: &str) -> String {
    let (folder, variable) = (folder(mark), quoted(&format!("{MARK_VARIABLE}={mark}")));
    // Two looks at all processes, and not one for each: a busy machine has many.
    format!(
        r#"left() {{
g=$(cat {folder}/group 2>/dev/null)
{{
cat /proc/[0-9]*/stat 2>/dev/null | sed -n "s/^\([0-9]*\) .*) [^Z] [0-9]* [0-9]* ${{g:-none}} .*/\1/p"
grep -lsFxz {variable} /proc/[0-9]*/environ | sed 's|^/proc/\([0-9]*\)/.*|\1|'
}} | sort -u | grep -vx $$
}}
"#
    )
}

/// Sends a signal to the program itself.
pub(crate) fn signal_program(mark: &str, signal: &str) -> String {
    let folder = folder(mark);
    format!(
        "p=$(cat {folder}/program 2>/dev/null) && [ -n \"$p\" ] && kill -{signal} \"$p\" 2>/dev/null; exit 0"
    )
}

/// Sends a signal to everything that is left of it, and prints what that was.
pub(crate) fn signal_all(mark: &str, signal: &str) -> String {
    format!(
        "{}for i in $(left); do echo \"$i\"; kill -{signal} \"$i\" 2>/dev/null; done; exit 0",
        left(mark)
    )
}

/// Prints what is left of it.
pub(crate) fn look(mark: &str) -> String {
    format!("{}left; exit 0", left(mark))
}

/// Prints the exit code of the program, once it has one.
pub(crate) fn code(mark: &str) -> String {
    format!("cat {}/code 2>/dev/null; exit 0", folder(mark))
}

/// Forgets the program.
pub(crate) fn forget(mark: &str) -> String {
    format!("rm -rf {}", folder(mark))
}

/// Takes standard input as a file, which is there as a whole or not at all.
pub(crate) fn upload(path: &str) -> String {
    let (path, new) = (quoted(path), quoted(&format!("{path}.switchyard-new")));
    format!("umask 077; mkdir -p \"$(dirname {path})\" && cat >{new} && mv {new} {path}")
}

/// Prints a file.
pub(crate) fn download(path: &str) -> String {
    format!("exec cat {}", quoted(path))
}
