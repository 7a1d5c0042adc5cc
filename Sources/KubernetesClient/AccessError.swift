/// Why a server cannot be spoken to as configured, in one line: where, what, and what to do about it.
///
/// Never holds a secret: texts from files and plug-ins go in only where they are no credentials.
public struct AccessError: Error, Hashable, Sendable, CustomStringConvertible {
    /// `FILE` or `FILE:LINE`.
    public var place: String
    public var problem: String
    public var remedy: String

    public init(_ place: String, _ problem: String, remedy: String) {
        self.place = place
        self.problem = problem
        self.remedy = remedy
    }

    public var description: String { "\(place): \(problem); \(remedy)" }
}
