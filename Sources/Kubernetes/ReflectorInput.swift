/// What has happened, as the shell tells a ``Reflector``.
///
/// Of a request: `responded` once, `received` any number of times, then `ended` or `failed` once; or `failed` alone. After a
/// ``ReflectorAction/cancel(_:)`` nothing needs to be told of that request, and what is told is ignored.
public enum ReflectorInput: Hashable, Sendable {
    /// First of all: begin.
    case started
    /// The head of the answer is there, whatever its status.
    case responded(APIRequest.ID, ResponseHead)
    /// Some of the answer's body, cut anywhere. Decompressed, without transfer coding. Also to be told for answers that are no success.
    case received(APIRequest.ID, [UInt8])
    /// The body came to its proper end.
    case ended(APIRequest.ID)
    case failed(APIRequest.ID, TransportFailure)
    /// ``ReflectorAction/renewCredentials`` is done.
    case credentialsRenewed
    /// It is done and was in vain; one line why.
    case credentialsFailed(String)
    /// The time that ``Reflector/nextWake`` named has come.
    case wokeUp
    /// Nobody needs this scope any more: the last input.
    case stopped
}
