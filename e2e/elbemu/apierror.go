package elbemu

import (
	"fmt"
	"net/http"
)

// APIError is an error response of the API. Code is the code on the wire, without the
// "Exception" of the SDK's type names.
type APIError struct {
	Status  int
	Code    string
	Message string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s: %s (HTTP %d)", e.Code, e.Message, e.Status)
}

// Codes on the wire. Some are in the published API model; the others are undocumented or
// general errors of the service.
const (
	codeValidation           = "ValidationError"
	codeInvalidConfiguration = "InvalidConfigurationRequest"
	codeInvalidAction        = "InvalidAction"
	codeInvalidQuery         = "InvalidQueryParameter"
	codeMissingAction        = "MissingAction"
	codeThrottling           = "Throttling"
	codeThrottlingException  = "ThrottlingException"
	codeInternalFailure      = "InternalFailure"
	codeAccessDenied         = "AccessDenied"

	codeLoadBalancerNotFound = "LoadBalancerNotFound"
	codeTargetGroupNotFound  = "TargetGroupNotFound"
	codeListenerNotFound     = "ListenerNotFound"
	codeSubnetNotFound       = "SubnetNotFound"
	codeAllocationNotFound   = "AllocationIdNotFound"
	codeDuplicateLB          = "DuplicateLoadBalancerName"
	codeDuplicateTG          = "DuplicateTargetGroupName"
	codeDuplicateListener    = "DuplicateListener"
	codeDuplicateTagKeys     = "DuplicateTagKeys"
	codeTooManyLBs           = "TooManyLoadBalancers"
	codeTooManyTGs           = "TooManyTargetGroups"
	codeTooManyListeners     = "TooManyListeners"
	codeTooManyTargets       = "TooManyTargets"
	codeTooManyTags          = "TooManyTags"
	codeTooManyActions       = "TooManyActions"
	codeResourceInUse        = "ResourceInUse"
	codeNotPermitted         = "OperationNotPermitted"
	codeAssociationLimit     = "TargetGroupAssociationLimit"
	codeIncompatible         = "IncompatibleProtocols"
	codeInvalidTarget        = "InvalidTarget"
	codeInvalidLBAction      = "InvalidLoadBalancerAction"
	codeCertificateNotFound  = "CertificateNotFound"

	// codeNotEmulated is not a code of AWS. The request may be valid, but this emulator
	// does not support it.
	codeNotEmulated = "NotEmulated"
)

// refuse returns a client error. All client errors of the service are HTTP 400.
func refuse(code, format string, args ...any) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// denied returns the error for a call that no policy allows.
func denied(format string, args ...any) *APIError {
	return &APIError{Status: http.StatusForbidden, Code: codeAccessDenied, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *APIError { return refuse(codeValidation, format, args...) }

func notEmulated(format string, args ...any) *APIError {
	return refuse(codeNotEmulated, "elbemu does not emulate "+format, args...)
}
