package configs

const hidden = "***"

// Secret is a string that does not show itself: printed, logged or marshalled it is "***", or "" when it is empty.
// Only Reveal (or a conversion to string) gives it away.
type Secret string

// Reveal is the secret itself: for the library that needs it, never for a message.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides it from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides it from JSON, YAML and zerolog's Interface.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}
