"""The label lists of the official datasets, in the order every array of their labels has.

Adapters read these columns and simulated twins write them; spelling and order are the makers', traps included.
"""

CHEXPERT_LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""CheXpert, MIMIC-CXR-JPG and what is built on them (Symile-MIMIC, CXLSeg): the labeller's fourteen."""

NIH14_LABELS = (
    "Hernia",
    "Pneumothorax",
    "Nodule",
    "Edema",
    "Effusion",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Mass",
    "Fibrosis",
    "Consolidation",
    "Pneumonia",
    "Infiltration",
    "Emphysema",
    "Atelectasis",
)
"""NIH ChestX-ray14, in the order of the authors' released code."""

VINDR_LOCAL_LABELS = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
)
VINDR_GLOBAL_LABELS = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
"""VinDr-CXR's 22 local and 6 global labels; the test file spells "Other diseases" as "Other disease"."""

TUBERCULOSIS_LABELS = ("Tuberculosis",)
"""The NLM's Shenzhen and Montgomery sets: the last digit of a film's name."""

CHEXCHONET_LABELS = ("composite_slvh_dlv", "slvh", "dlv")
"""CheXchoNet: severe left ventricular hypertrophy, dilated left ventricle, and either of the two."""

CHESTX6_CLASSES = ("Covid-19", "Emphysema", "Normal", "Pneumonia-Bacterial", "Pneumonia-Viral", "Tuberculosis")

COVID_QU_EX_CLASSES = ("Normal", "COVID-19", "Non-COVID")
"""COVID-QU-Ex, in the order of the authors' released code; the paper uses the masks alone."""

MEDMOD_PHENOTYPES = (
    "Acute and unspecified renal failure",
    "Acute cerebrovascular disease",
    "Acute myocardial infarction",
    "Cardiac dysrhythmias",
    "Chronic kidney disease",
    "Chronic obstructive pulmonary disease and bronchiectasis",
    "Complications of surgical procedures or medical care",
    "Conduction disorders",
    "Congestive heart failure; nonhypertensive",
    "Coronary atherosclerosis and other heart disease",
    "Diabetes mellitus with complications",
    "Diabetes mellitus without complication",
    "Disorders of lipid metabolism",
    "Essential hypertension",
    "Fluid and electrolyte disorders",
    "Gastrointestinal hemorrhage",
    "Hypertension with complications and secondary hypertension",
    "Other liver diseases",
    "Other lower respiratory disease",
    "Other upper respiratory disease",
    "Pleurisy; pneumothorax; pulmonary collapse",
    "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    "Respiratory failure; insufficiency; arrest (adult)",
    "Septicemia (except in labor)",
    "Shock",
)
"""MedMod's 25 phenotypes, alphabetical as in its label file; semicolons and parentheses belong to the names."""

MEDMOD_MORTALITY = ("mortality_inunit", "mortality", "mortality_inhospital")
"""MedMod's three flags of death: in the ICU, and twice the same vector, in the hospital."""

PADCHEST_LABELS = (
    "normal",
    "atelectasis",
    "cardiomegaly",
    "pleural effusion",
    "pleural thickening",
    "pneumothorax",
    "pneumonia",
    "infiltrates",
    "consolidation",
    "nodule",
    "mass",
    "pulmonary edema",
    "emphysema",
    "COPD signs",
    "pulmonary fibrosis",
    "aortic elongation",
    "hiatal hernia",
    "fracture",
    "electrical device",
)
"""Those of PadChest's 193 terms that other collections have too, each standing for the terms below it."""
