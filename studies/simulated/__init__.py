"""The study on a simulated hospital: does the method do what it claims, and do the controls stay flat?"""
