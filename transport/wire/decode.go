package wire

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hearth/domain"
)

// Decode reads one JSON value into v, strictly: names with case, no unknown and no repeated ones, valid UTF-8,
// nothing behind the value. The error is bad_request and names the field, never the value.
func Decode(data []byte, v any) error {
	return decodeError(json.Unmarshal(data, v, json.RejectUnknownMembers(true)), "")
}

// decodeLoose is for a first look: it passes over what Decode refuses, so that the refusal can name the request's id.
func decodeLoose(data []byte, v any) error {
	return decodeError(json.Unmarshal(data, v, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)), "")
}

func decodeError(err error, prefix string) error {
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		field := fieldName(prefix, semantic.JSONPointer)
		if errors.Is(semantic.Err, json.ErrUnknownName) {
			return domain.BadField(field, "unknown field")
		}
		if field == "" {
			return domain.Errorf(domain.CodeBadRequest, "must be a JSON object")
		}
		return domain.BadField(field, "has the wrong type or is out of range")
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) && errors.Is(syntactic.Err, jsontext.ErrDuplicateName) {
		return domain.BadField(fieldName(prefix, syntactic.JSONPointer), "is given twice")
	}
	if prefix != "" {
		return domain.BadField(prefix, "is not valid JSON")
	}
	return domain.Errorf(domain.CodeBadRequest, "is not valid JSON")
}

// fieldName turns a JSON pointer (RFC 6901) into the way people write it: /body/0/url is body[0].url. Only names
// that are safe to show are shown.
func fieldName(prefix string, p jsontext.Pointer) string {
	name := []byte(prefix)
	for token := range p.Tokens() {
		switch {
		case isIndex(token):
			name = append(append(append(name, '['), token...), ']')
		case !isFieldName(token):
			name = append(name, ".?"...)
		default:
			if len(name) > 0 {
				name = append(name, '.')
			}
			name = append(name, token...)
		}
	}
	return string(bytes.TrimPrefix(name, []byte(".")))
}

func isIndex(s string) bool {
	return s != "" && len(s) <= 4 && strings.Trim(s, "0123456789") == ""
}

// isFieldName bounds what an error repeats of the caller's own words.
func isFieldName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
