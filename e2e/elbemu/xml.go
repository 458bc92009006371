package elbemu

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"time"
)

const namespace = "http://elasticloadbalancing.amazonaws.com/doc/" + apiVersion + "/"

// members is a list on the wire. An empty list still has its element.
type members[T any] struct {
	Members []T `xml:"member"`
}

func listOf[T any](values []T) members[T] { return members[T]{Members: values} }

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func resultXML(action string, result any, requestID string) reply {
	var out bytes.Buffer
	enc := xml.NewEncoder(&out)
	envelope := xml.StartElement{
		Name: xml.Name{Local: action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}},
	}
	metadata := struct {
		RequestID string `xml:"RequestId"`
	}{requestID}
	err := firstOf(
		func() error { return enc.EncodeToken(envelope) },
		func() error { return enc.EncodeElement(result, element(action+"Result")) },
		func() error { return enc.EncodeElement(metadata, element("ResponseMetadata")) },
		func() error { return enc.EncodeToken(envelope.End()) },
		enc.Close,
	)
	if err != nil {
		return errorXML(&APIError{Status: http.StatusInternalServerError, Code: codeInternalFailure, Message: "marshalling answer: " + err.Error()}, requestID)
	}
	return reply{status: http.StatusOK, body: out.Bytes(), requestID: requestID}
}

func element(name string) xml.StartElement { return xml.StartElement{Name: xml.Name{Local: name}} }

func firstOf(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func errorXML(fail *APIError, requestID string) reply {
	type detail struct{ Type, Code, Message string }
	kind := "Sender"
	if fail.Status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Namespace string   `xml:"xmlns,attr"`
		Error     detail
		RequestID string `xml:"RequestId"`
	}{Namespace: namespace, Error: detail{kind, fail.Code, fail.Message}, RequestID: requestID})
	if err != nil { // cannot happen, because all values are strings
		return reply{status: http.StatusInternalServerError}
	}
	return reply{status: fail.Status, body: body, code: fail.Code, requestID: requestID}
}
