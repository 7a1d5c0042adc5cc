/// What the shell is to do, in this order.
public enum ReflectorAction: Hashable, Sendable {
    case request(APIRequest)
    /// Give up a request: its connection may be closed, or the HTTP/2 stream reset.
    case cancel(APIRequest.ID)
    /// The server did not accept the credentials (401): read them again from where they come from, past any cache, and answer
    /// ``ReflectorInput/credentialsRenewed`` or ``ReflectorInput/credentialsFailed(_:)``.
    case renewCredentials
    /// For the watcher's machine: what changed in this scope.
    case apply(ObjectUpdate)
    /// For the watcher's machine: how much the copy is worth has changed.
    case health(ReflectorHealth)
    case log(ReflectorNotice)
}

/// A change of a scope's objects, all of which became true together.
public struct ObjectUpdate: Hashable, Sendable {
    public enum Origin: Hashable, Sendable {
        /// Each change was told by the server as an event of its own.
        case events
        /// The difference between the copy and a complete list: what is deleted here was missed, or never seen go.
        /// Also says that the copy is complete now, so the first one comes even when it is empty.
        case relist
    }

    public var origin: Origin
    /// In the order of the events; of a relist, each object at most once, deletions last.
    public var changes: [ObjectChange]

    public init(_ origin: Origin, _ changes: [ObjectChange]) {
        self.origin = origin
        self.changes = changes
    }
}

/// What became of one object.
public enum ObjectChange: Hashable, Sendable {
    case upserted(WatchedObject)
    /// An object of the scope's kind.
    case deleted(ObjectKey)
}

/// An object of one of the kinds that are read.
public enum WatchedObject: Hashable, Sendable {
    case slice(EndpointSlice)
    case service(Service)

    public var metadata: ObjectMetadata {
        switch self {
        case .slice(let slice): slice.metadata
        case .service(let service): service.metadata
        }
    }

    public var key: ObjectKey { metadata.key }
}

/// How much a scope's copy is worth.
public enum ReflectorHealth: Hashable, Sendable {
    /// Nothing complete was ever read: not the same as empty. With one line about why not, if something went wrong.
    case unknown(String?)
    /// Complete, and a watch is up (or between two planned ones).
    case live
    /// Complete once, out of touch since; one line why.
    case away(String)
}
