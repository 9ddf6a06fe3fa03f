package configs

import (
	"net/url"
	"strings"
)

const hidden = "***"

// WebURL is the URL of a receiver. A password or a query in it does not show when it is printed or marshalled: either may
// be what lets hearth in there.
type WebURL string

// Reveal is the URL as it is.
func (u WebURL) Reveal() string { return string(u) }

func (u WebURL) String() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return "***"
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = "***"
	}
	if parsed.User != nil {
		parsed.User = url.User("***")
	}
	return strings.ReplaceAll(parsed.String(), "%2A", "*")
}

// GoString is String: %#v shows no more.
func (u WebURL) GoString() string { return u.String() }

// MarshalText is String.
func (u WebURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText takes the text as it is.
func (u *WebURL) UnmarshalText(text []byte) error {
	*u = WebURL(text)
	return nil
}

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
