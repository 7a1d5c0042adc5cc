/// One direction of a session as its record says it: written before the step that it describes.
///
/// Bytes pass one to one, but for *edits*: at position `sourceAt` of the source, `sourceLength` bytes stand for `sinkLength` bytes at
/// position `sinkAt` of the sink. A rewritten head is an edit; so are bytes that are left out (`sinkLength` 0), and a header of our own
/// (`sourceLength` 0). Behind the last edit source and sink run in step, so that the sink's position gives the source's.
/// Positions count from the connection's first byte.
public struct RelayRecord: Hashable, Sendable, BitwiseCopyable {
    /// What comes behind the edit.
    public enum Follows: UInt8, Sendable, Hashable, BitwiseCopyable {
        /// Nothing was recorded: this direction has not begun.
        case unknown
        /// A head that is still to be looked at.
        case head
        /// Bytes until the end.
        case open
        /// Bytes up to ``end``.
        case counted
        /// Chunks; those up to ``end`` were verified.
        case chunked
        /// Nothing: the message is complete.
        case nothing
    }

    /// What is known of a response once its head was passed.
    public struct Traits: OptionSet, Hashable, Sendable, BitwiseCopyable {
        public var rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// 101: from here on bytes pass both ways.
        public static let isSwitch = Traits(rawValue: 1)
        public static let keepsWorker = Traits(rawValue: 2)
        public static let keepsCaller = Traits(rawValue: 4)
        /// `follows` is `nothing`, but only because the other side did not want the rest.
        public static let isShut = Traits(rawValue: 8)
    }

    public var follows = Follows.unknown
    public var traits: Traits = []
    public var sourceAt: UInt64 = 0
    public var sourceLength: UInt32 = 0
    public var sinkAt: UInt64 = 0
    public var sinkLength: UInt32 = 0
    /// A position of the source.
    public var end = UInt64.max
    public var chunks = ChunkTreatment.whole
    /// As it will be at ``end``.
    public var scanner = ChunkScanner()

    public init() {}

    public init(
        sourceAt: UInt64, sourceLength: Int = 0, sinkAt: UInt64, sinkLength: Int = 0, follows: Follows, end: UInt64 = .max,
        traits: Traits = []
    ) {
        self.sourceAt = sourceAt
        self.sourceLength = UInt32(clamping: sourceLength)
        self.sinkAt = sinkAt
        self.sinkLength = UInt32(clamping: sinkLength)
        self.follows = follows
        self.end = end
        self.traits = traits
    }
}

/// Where a direction stands, worked out by an adopter.
public enum Settlement: Hashable, Sendable {
    /// The sink has nothing of the edit: it is still to be made.
    case before
    /// The sink has a part of the edit: nobody knows the rest any more.
    case torn
    /// `discard` bytes of the source have reached the sink and must leave the source; then it stands at `position`.
    case at(position: UInt64, discard: UInt64, source: Source)
    /// The sink has no connection any more.
    case sinkGone
    /// The counters contradict the record.
    case contradiction

    /// What a read of 0 at the source means.
    public enum Source: UInt8, Hashable, Sendable {
        case open
        case ended
        /// Reset: never to be passed on as an end.
        case cut
    }
}

extension RelayRecord {
    /// Where this direction stands. `inPipe`: bytes that have left the source and not reached the sink.
    ///
    /// source position = edit's end at the source + what the sink has beyond the edit + what is in the pipe. The source may be short of
    /// that by bytes that were sent from a peek and not yet taken off. It is never beyond it.
    public func settle(source: Standing, sink: Standing, inPipe: UInt64) -> Settlement {
        guard sink.life != .closed else { return .sinkGone }
        guard sink.given >= sinkAt else { return .contradiction }
        let sent = sink.given - sinkAt
        if sent < UInt64(sinkLength) {
            guard inPipe == 0 else { return .contradiction }
            guard sent == 0 else { return .torn }
            // Nothing of it: then nothing has left the source either.
            return source.taken == sourceAt || (source.life == .closed && source.taken == sourceAt &+ 1) ? .before : .contradiction
        }
        let position = sourceAt &+ UInt64(sourceLength) &+ (sent - UInt64(sinkLength)) &+ inPipe
        guard position <= end else { return .contradiction }
        switch source.life {
        case .open, .ended:
            guard source.taken <= position else { return .contradiction }
            let discard = position - source.taken
            guard discard == 0 || inPipe == 0 else { return .contradiction }
            return .at(position: position, discard: discard, source: source.life == .ended ? .ended : .open)
        case .closed:
            if source.taken == position &+ 1 { return .at(position: position, discard: 0, source: .ended) }
            guard source.taken <= position else { return .contradiction }
            // Bytes that were sent from a peek: whoever peeked them cannot have read a reset, which stands behind them. So without one it was
            // an end, which `taken` counts: one byte more is to leave the source.
            if source.taken < position && !source.hasError { return .at(position: position, discard: position - source.taken + 1, source: .ended) }
            return .at(position: position, discard: position - source.taken, source: .cut)
        }
    }
}
