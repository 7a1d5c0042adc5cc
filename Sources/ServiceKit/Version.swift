/// The product's version, the same in every executable.
public enum Version {
    public static let current = "0.1.0"
}
