import Model

/// What one open stream was told of whether its pools have jobs: asked at every change, it answers only with news.
public struct ActivityWatch: Sendable {
    private let object: ScaledObject
    private var told: Bool?

    public init(_ object: ScaledObject) { self.object = object }

    /// Nil where there is nothing new, and while nobody knows: an end of the stream would only make its reader wait before it asks again.
    /// Throws when a pool is gone from the configuration. O(pools of the stream × pools).
    public mutating func next(_ publication: Publication, at now: Instant) throws(ScaledObject.Refusal) -> Bool? {
        let isActive: Bool
        do throws(ScaledObject.Refusal) {
            isActive = try object.isActive(in: publication, at: now).isActive
        } catch .blind {
            return nil
        }
        guard isActive != told else { return nil }
        told = isActive
        return isActive
    }
}
