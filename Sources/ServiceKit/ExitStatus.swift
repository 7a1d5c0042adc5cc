/// How our processes end, after sysexits(3). (ArgumentParser owns the name ExitCode.)
public enum ExitStatus: Int32, Sendable {
    /// Done.
    case success = 0
    /// Ran, and the answer is no: a check that failed, a verb that was refused.
    case failure = 1
    /// The command line was wrong (EX_USAGE).
    case usage = 64
    /// A needed process or file of ours is not there (EX_UNAVAILABLE).
    case unavailable = 69
    /// Our own mistake (EX_SOFTWARE).
    case software = 70
    /// The system refused something: fork, pipe, descriptors (EX_OSERR).
    case system = 71
    /// No answer in time: try again (EX_TEMPFAIL).
    case temporary = 75
    /// A peer spoke another protocol, or another version of it (EX_PROTOCOL).
    case `protocol` = 76
    /// Not permitted (EX_NOPERM).
    case permission = 77
    /// The configuration is wrong (EX_CONFIG); units do not restart on it.
    case configuration = 78
}
