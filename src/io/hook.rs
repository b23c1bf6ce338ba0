//! Runs an operator's command with a text on standard input, for a bounded time.

use crate::limits::{EVENT_COMMAND_SECONDS_MAX, EVENT_COMPLAINT_BYTES_MAX};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It can't be run at all.
    #[error("{command}: {error}")]
    Start {
        /// The program.
        command: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It ended with a failure.
    #[error("{command}: {status}; it says: {complaint}")]
    Failed {
        /// The program.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last line of its standard error.
        complaint: String,
    },
    /// It took too long, and was killed.
    #[error("{command}: not done within {} s, killed", limit.as_secs())]
    TimeOut {
        /// The program.
        command: String,
        /// The time that it had.
        limit: Duration,
    },
}

/// Runs `command` (a program and its arguments, without a shell) with `input`, and waits for its end. It need not read
/// the input.
///
/// # Errors
/// It can't be run, fails, or takes longer than [`EVENT_COMMAND_SECONDS_MAX`].
pub async fn run(command: &[String], input: &[u8]) -> Result<(), HookError> {
    run_within(command, (input, &[]), Duration::from_secs(EVENT_COMMAND_SECONDS_MAX)).await
}

/// As [`run`], within a time of the caller's.
///
/// # Errors
/// It can't be run, fails, or takes longer than `limit`.
pub async fn run_for(command: &[String], input: &[u8], limit: Duration) -> Result<(), HookError> {
    run_within(command, (input, &[]), limit).await
}

/// The same without input, but with more in its environment, and its own time.
///
/// # Errors
/// As [`run`].
pub async fn run_in(
    command: &[String],
    environment: &[(&'static str, String)],
    limit: Duration,
) -> Result<(), HookError> {
    run_within(command, (b"", environment), limit).await
}

/// The same, for what it prints on standard output: at most `bytes_max`; one that prints more finds its pipe closed.
///
/// # Errors
/// As [`run`].
pub async fn ask(command: &[String], limit: Duration, bytes_max: u64) -> Result<String, HookError> {
    let name = command.first().cloned().unwrap_or_default();
    let start = |error| HookError::Start {
        command: name.clone(),
        error,
    };
    let mut child = Command::new(&name)
        .args(command.get(1..).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let heard = async {
        let (said, complaint, status) = tokio::join!(
            heard(out, bytes_max),
            heard(err, EVENT_COMPLAINT_BYTES_MAX),
            child.wait()
        );
        Ok::<_, std::io::Error>((said?, complaint?, status?))
    };
    match tokio::time::timeout(limit, heard).await {
        Ok(Ok((said, _, status))) if status.success() => Ok(said),
        Ok(Ok((_, complaint, status))) => Err(HookError::Failed {
            command: name,
            status,
            complaint: complaint.lines().last().unwrap_or("nothing").to_owned(),
        }),
        Ok(Err(error)) => Err(start(error)),
        Err(_) => Err(HookError::TimeOut { command: name, limit }),
    }
}

async fn heard(from: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<String> {
    let mut said = Vec::new();
    if let Some(from) = from {
        from.take(bytes_max).read_to_end(&mut said).await?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

async fn run_within(
    command: &[String],
    (input, environment): (&[u8], &[(&'static str, String)]),
    limit: Duration,
) -> Result<(), HookError> {
    let (program, arguments) = command
        .split_first()
        .map_or(("", [].as_slice()), |(p, a)| (p.as_str(), a));
    let name = program.to_owned();
    let start = |error| HookError::Start {
        command: name.clone(),
        error,
    };
    let child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    match tokio::time::timeout(limit, finish(child, input)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, complaint))) => Err(HookError::Failed {
            command: name,
            status,
            complaint,
        }),
        Ok(Err(error)) => Err(start(error)),
        Err(_) => Err(HookError::TimeOut { command: name, limit }),
    }
}

async fn finish(mut child: Child, input: &[u8]) -> std::io::Result<(std::process::ExitStatus, String)> {
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input).await
    {
        tracing::trace!(%error, "the command does not read its input");
    }
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(EVENT_COMPLAINT_BYTES_MAX).read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    let said = String::from_utf8_lossy(&said);
    Ok((status, said.lines().last().unwrap_or("nothing").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_command_gets_the_event_and_its_failure_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("got");
        let keep = shell(&format!("cat > {}", file.display()));
        run(&keep, b"{\"event\":\"started\"}").await.unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"event\":\"started\"}");
        let failed = run(&shell("echo no route >&2; exit 3"), b"x")
            .await
            .unwrap_err()
            .to_string();
        assert!(failed.contains("exit status: 3; it says: no route"), "{failed}");
        let missing = run(&["/no/such/program".to_owned()], b"").await.unwrap_err();
        assert!(matches!(missing, HookError::Start { .. }));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_and_one_that_never_reads_is_no_error() {
        let hung = run_within(&shell("exec sleep 60"), (b"x", &[]), Duration::from_millis(100)).await;
        assert!(matches!(hung, Err(HookError::TimeOut { .. })), "{hung:?}");
        run(&shell("exec <&-; exit 0"), &vec![b'x'; 1 << 20]).await.unwrap();
    }
}
